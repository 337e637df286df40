import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { LogMemory } from './log-memory.js';

/** Writes a record of `bytes` whose content tells its position. */
function add(memory: LogMemory, position: number, bytes: number): void {
  const { buffer, offset } = memory.reserve(bytes);
  buffer.fill(position % 251, offset, offset + bytes);
  memory.hold(position, bytes);
}

function isRight(found: Buffer | undefined, position: number, bytes: number): boolean {
  return found?.length === bytes && found.every((byte) => byte === position % 251);
}

describe('the memory of the log', () => {
  it('answers what was held, and keeps what is not durable whatever the bound', () => {
    const memory = new LogMemory(100);
    for (let at = 0; at < 10; at += 1) add(memory, at * 50, 50);
    memory.endPiece();
    memory.trim(0);
    expect(memory.bytes).toBe(500);
    expect(isRight(memory.read(450, 50), 450, 50)).toBe(true);
    expect(memory.has(500)).toBe(false);
    memory.trim(500);
    expect(memory.bytes).toBe(0);
    expect(memory.read(450, 50)).toBeUndefined();
  });

  it('hands out copies: slabs are used again', () => {
    const memory = new LogMemory(0);
    add(memory, 0, 200_000);
    memory.endPiece();
    const kept = memory.read(0, 200_000);
    memory.trim(200_000);
    for (let at = 1; at < 5; at += 1) {
      add(memory, at * 200_000, 200_000);
      memory.endPiece();
      memory.trim((at + 1) * 200_000);
    }
    expect(isRight(kept, 0, 200_000)).toBe(true);
  });

  it('is a window over the newest records, for any sizes, blocks and syncs', () => {
    const step = fc.record({
      bytes: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 100_000, max: 300_000 })),
      endsBlock: fc.boolean(),
      syncs: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120 }),
        fc.integer({ min: 0, max: 400_000 }),
        (steps, bytesMax) => {
          const memory = new LogMemory(bytesMax);
          const records: { position: number; bytes: number }[] = [];
          let [end, durable] = [0, 0];
          for (const { bytes, endsBlock, syncs } of steps) {
            add(memory, end, bytes);
            records.push({ position: end, bytes });
            end += bytes;
            if (endsBlock || syncs) {
              memory.endPiece();
              end += 7;
            }
            if (!syncs) continue;
            durable = end;
            memory.trim(durable);
            expect(memory.bytes).toBeLessThanOrEqual(bytesMax);
          }
          let held = 0;
          for (const { position, bytes } of records) {
            const found = memory.read(position, bytes);
            expect(memory.has(position)).toBe(found !== undefined);
            if (position >= durable) expect(found).toBeDefined();
            if (found === undefined) expect(held).toBe(0);
            else expect(isRight(found, position, bytes)).toBe(true);
            if (found !== undefined) held += bytes;
          }
          expect(held).toBe(memory.bytes);
        },
      ),
      { numRuns: 150 },
    );
  });
});
