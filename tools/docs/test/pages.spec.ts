import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { generatedPages, ROOT } from '../src/pages.js';
import { protoMarkdown } from '../src/proto-markdown.js';

describe('generated pages', () => {
  it.each([...generatedPages()])('%s is what its source says (else: npm run docs)', (path, text) => {
    expect(existsSync(join(ROOT, path))).toBe(true);
    expect(readFileSync(join(ROOT, path), 'utf8')).toBe(text);
  });
});

describe('protoMarkdown', () => {
  it('tells calls, fields, alternatives and their comments', () => {
    const source = [
      'syntax = "proto3";',
      '',
      '// Does things.',
      'service S {',
      '  // Does one.',
      '  rpc Do(Request) returns (stream Reply);',
      '}',
      'message Request {}',
      'message Reply {',
      '  oneof what {',
      '    bytes key = 1;',
      '  }',
      '}',
    ].join('\n');
    const text = protoMarkdown('s.proto', source);
    expect(text).toContain('### S\n\nDoes things.\n');
    expect(text).toContain('| `Do(Request) returns (stream Reply)` | Does one. |');
    expect(text).toContain('| `bytes key = 1 (one of what)` |  |');
    expect(text).toContain('### Request\n\nNo fields.');
  });

  it('refuses what it cannot read', () => {
    expect(() => protoMarkdown('s.proto', 'message A {\n  map<\n}')).toThrow('cannot read this line');
  });
});
