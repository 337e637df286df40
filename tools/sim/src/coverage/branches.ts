import ts from 'typescript';

/** A way that a program can take, or not. Offsets are those of the script that runs. */
export interface Branch {
  readonly what: 'function' | 'then' | 'else' | 'case' | 'loop' | 'catch' | 'operand' | 'choice';
  /** Where it is decided; a branch is only worth telling when this was reached. */
  readonly decidedAt: number;
  /** Code that runs only on this way … */
  readonly takenAt: number;
  /** … or, for an `if` without `else`, code that runs only on the other one. */
  readonly isComplement: boolean;
}

const LOGICAL = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
  ts.SyntaxKind.AmpersandAmpersandEqualsToken,
  ts.SyntaxKind.BarBarEqualsToken,
  ts.SyntaxKind.QuestionQuestionEqualsToken,
]);

/**
 * All branches of a script: both ways of `if` (also where no `else` is written), of `?:`, the operands that
 * `&&`, `||` and `??` may skip, the clauses of `switch`, loops, `catch`, functions.
 */
export function branchesOf(text: string): Branch[] {
  const file = ts.createSourceFile('script.js', text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS);
  const branches: Branch[] = [];
  const visit = (node: ts.Node): void => {
    branches.push(...branchesAt(node, file));
    ts.forEachChild(node, visit);
  };
  visit(file);
  return branches;
}

function branchesAt(node: ts.Node, file: ts.SourceFile): Branch[] {
  const decidedAt = node.getStart(file);
  const taken = (what: Branch['what'], code: ts.Node | undefined): Branch[] =>
    code === undefined ? [] : [{ what, decidedAt, takenAt: code.getStart(file), isComplement: false }];
  if (ts.isIfStatement(node)) {
    const { thenStatement, elseStatement } = node;
    const [then] = taken('then', thenStatement);
    if (then === undefined) return [];
    if (elseStatement !== undefined) return [then, ...taken('else', elseStatement)];
    return [then, { ...then, what: 'else', isComplement: true }];
  }
  if (ts.isConditionalExpression(node)) {
    return [...taken('choice', node.whenTrue), ...taken('choice', node.whenFalse)];
  }
  if (ts.isBinaryExpression(node) && LOGICAL.has(node.operatorToken.kind)) {
    return taken('operand', node.right);
  }
  if (ts.isCaseOrDefaultClause(node)) {
    const decided = node.parent.parent.getStart(file);
    return taken('case', node.statements[0]).map((branch) => ({ ...branch, decidedAt: decided }));
  }
  if (ts.isIterationStatement(node, false)) return taken('loop', node.statement);
  if (ts.isCatchClause(node)) return taken('catch', node.block);
  if (ts.isFunctionLike(node) && 'body' in node) {
    const body = node.body as ts.Node | undefined;
    // A function is reached with the script; whether its body runs is the question.
    return taken('function', body).map((branch) => ({ ...branch, decidedAt: 0 }));
  }
  return [];
}
