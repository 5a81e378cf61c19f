"""Runs ministack until its standard input ends.

The test that started it holds the other end. However that test goes, even by SIGKILL, the system closes the pipe; then
everything that ministack has started goes with it, and so do its files.
"""

import os
import shutil
import signal
import sys
import threading


def end_with_the_test():
    while os.read(0, 4096):
        pass
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


# A group of its own: the functions' processes that it starts are in it too, and nobody else is.
os.setpgid(0, 0)
threading.Thread(target=end_with_the_test, daemon=True).start()

from ministack.app import main  # noqa: E402, the watch comes first

sys.argv = ["ministack"]
main()
