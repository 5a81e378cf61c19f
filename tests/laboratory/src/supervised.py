"""Runs ministack until its standard input ends, and mends what it does not do as AWS does.

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
from ministack.services import lambda_svc  # noqa: E402

execute = lambda_svc._execute_function_with_config_scope


def execute_with_cookies(record, event, *further, **named):
    """Payload format 2.0 has the cookies in a list of their own (API Gateway's developer guide); ministack leaves them
    among the headers."""
    if isinstance(event, dict) and event.get("version") == "2.0" and "rawPath" in event:
        cookies = event["headers"].pop("cookie", "")
        if cookies:
            event["cookies"] = cookies.split("; ")
    return execute(record, event, *further, **named)


lambda_svc._execute_function_with_config_scope = execute_with_cookies

sys.argv = ["ministack"]
main()
