import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../../..');
const proto = join(root, 'proto');
const bin = join(root, 'node_modules/.bin');
const env = { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, NODE_OPTIONS: '' };

function buf(...args: string[]): void {
  execFileSync(join(bin, 'buf'), args, { cwd: proto, env, stdio: 'pipe' });
}

function filesOf(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name);
    if (statSync(path).isFile()) files.set(name, readFileSync(path, 'utf8'));
  }
  return files;
}

// Goal: what is committed under gen is what the schema says. Method: generate aside and compare.
describe('the schema', () => {
  it('passes lint', () => {
    expect(() => {
      buf('lint');
    }).not.toThrow();
  });

  it('generates exactly the committed code', () => {
    const aside = mkdtempSync(join(tmpdir(), 'cairn-gen-'));
    try {
      const template = readFileSync(join(proto, 'buf.gen.yaml'), 'utf8')
        .replace('../libs/foundation/wire/src/gen', aside)
        .replace('../node_modules', relative(proto, join(root, 'node_modules')));
      buf('generate', '--template', JSON.stringify(parseTemplate(template)));
      expect(filesOf(aside)).toEqual(filesOf(join(here, 'gen')));
    } finally {
      rmSync(aside, { recursive: true, force: true });
    }
  }, 60_000);
});

/** The few lines of YAML that the template has. */
function parseTemplate(text: string): object {
  const value = (name: string): string => new RegExp(`${name}: (.+)`).exec(text)?.[1] ?? '';
  const opt = [...text.matchAll(/^ {6}- (.+)$/gm)].map((match) => match[1]);
  return { version: value('version'), plugins: [{ local: value('local'), out: value('out'), opt }] };
}
