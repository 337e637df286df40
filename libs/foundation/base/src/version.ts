/** The version of the product, which programs say of themselves. */
export const VERSION = '0.1.0';
