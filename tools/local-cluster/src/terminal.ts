/** The part of a stream that drawing needs. */
export interface TerminalStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const CLEAR_LINE = '\u001b[2K\r';
const UP = (lines: number): string => `\u001b[${lines}A`;

/**
 * Prints lines that stay, and below them an area that is drawn anew each time. Without a terminal the area
 * does not exist and only lines are printed.
 */
export class Terminal {
  readonly #stream: TerminalStream;
  #area: readonly string[] = [];

  constructor(stream: TerminalStream) {
    this.#stream = stream;
  }

  get isInteractive(): boolean {
    return this.#stream.isTTY === true;
  }

  /** Prints text above the area. */
  print(text: string): void {
    const area = this.#area;
    this.#erase();
    this.#stream.write(`${text}\n`);
    this.draw(area);
  }

  /** Replaces the area. Lines wider than the terminal are cut: a wrapped one could not be erased again. */
  draw(lines: readonly string[]): void {
    if (!this.isInteractive) return;
    this.#erase();
    const width = (this.#stream.columns ?? 80) - 1;
    if (lines.length > 0) this.#stream.write(`${lines.map((line) => line.slice(0, width)).join('\n')}\n`);
    this.#area = lines;
  }

  /** Removes the area. */
  clear(): void {
    this.draw([]);
  }

  #erase(): void {
    for (let line = 0; line < this.#area.length; line += 1) this.#stream.write(UP(1) + CLEAR_LINE);
    this.#area = [];
  }
}
