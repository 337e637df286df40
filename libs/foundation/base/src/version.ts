/** Of the product: what programs say of themselves. */
export const VERSION = '0.1.0';
