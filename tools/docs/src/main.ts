import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatedPages, ROOT } from './pages.js';

for (const [path, text] of generatedPages()) {
  writeFileSync(join(ROOT, path), text);
  process.stdout.write(`wrote ${path}\n`);
}
