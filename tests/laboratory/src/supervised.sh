# Runs a program until standard input ends. The test that started it holds the other end: however that test goes, even by
# SIGKILL, the system closes the pipe; then everything that the program has started goes with it, and so do its files.
# What ends a whole group of processes, such as an interrupt from the terminal, ends the test, and so all the rest.
trap '' INT HUP TERM
exec 3<&0
# A group of its own: the program's processes are in it, and nobody else is.
setsid "$@" </dev/null 3<&- &
program=$!
{ cat <&3 >/dev/null; kill -s KILL -- "-$program" || kill -s KILL "$program"; } 2>/dev/null &
watch=$!
wait "$program"
kill -s KILL "$watch" 2>/dev/null
# Whoever has been killed is about to be gone.
left=50
until rm -rf "$TMPDIR" 2>/dev/null || [ "$left" -eq 0 ]; do
  left=$((left - 1))
  sleep 0.1
done
