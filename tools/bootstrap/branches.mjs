/** Branches of a source file that nothing has run, as V8 would count them had it been loaded. */

/** So many are in the text of a TypeScript file: each function, and each way that code may go or not. */
export function branchesIn(ts, text) {
  const { SyntaxKind } = ts;
  const operators = [
    ...[SyntaxKind.AmpersandAmpersandToken, SyntaxKind.BarBarToken, SyntaxKind.QuestionQuestionToken],
    ...[SyntaxKind.AmpersandAmpersandEqualsToken, SyntaxKind.BarBarEqualsToken],
    SyntaxKind.QuestionQuestionEqualsToken,
  ];
  const waysOf = (node) => {
    if (ts.isFunctionLike(node)) return node.body === undefined ? 0 : 1;
    if (ts.isIfStatement(node)) return node.elseStatement === undefined ? 1 : 2;
    if (ts.isConditionalExpression(node)) return 2;
    if (ts.isIterationStatement(node, false) || ts.isCaseOrDefaultClause(node)) return 1;
    if (ts.isCatchClause(node)) return 1;
    return ts.isBinaryExpression(node) && operators.includes(node.operatorToken.kind) ? 1 : 0;
  };
  let ways = 0;
  const visit = (node) => {
    ways += waysOf(node);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('file.ts', text, ts.ScriptTarget.Latest));
  return ways;
}
