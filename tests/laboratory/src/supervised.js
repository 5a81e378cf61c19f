// Runs azurite until its standard input ends. The test that started it holds the other end: however that test goes,
// even by SIGKILL, the system closes the pipe, and azurite goes with its files.
const fs = require("fs");

const end = () => {
  fs.rmSync(process.env.TMPDIR, { recursive: true, force: true });
  process.exit(0);
};
for (const event of ["end", "close", "error"]) process.stdin.on(event, end);
process.stdin.resume();

const [program, ...options] = process.argv.slice(1);
process.argv = [process.argv[0], program, ...options];
require(program);
