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
      '// Does things',
      '// well.',
      '//',
      '// And more.',
      'service S {',
      '  // Does one.',
      '  rpc Do(Request) returns (stream Reply);',
      '}',
      'message Request {}',
      'message Reply {',
      '  oneof what {',
      '    // A key.',
      '    //',
      '    // It may be empty.',
      '    bytes key = 1;',
      '    bytes value = 2;',
      '  }',
      '}',
    ].join('\n');
    const text = protoMarkdown('s.proto', source);
    expect(text).toContain('### S\n\nDoes things well.\n\nAnd more.\n\n| call');
    expect(text).toContain('| `Do(Request) returns (stream Reply)` | Does one. |');
    expect(text).toContain('| `bytes key = 1 (one of what)` | A key.<br>It may be empty. |');
    expect(text).toContain('| `bytes value = 2 (one of what)` |  |');
    expect(text).toContain('### Request\n\nNo fields.');
  });

  it('refuses what it cannot read', () => {
    expect(() => protoMarkdown('s.proto', 'message A {\n  map<\n}')).toThrow('cannot read this line');
  });
});
