"""A person who looks at one page in a browser: opens it and reads what is there, once it is.

    python page.py URL SCRIPT

prints a line of JSON with what SCRIPT returned, the first time that it is something, and with what the browser complained of. It
runs in the environment that `requirements.txt` beside it describes.
"""

import json
import shutil
import sys
import time

from selenium import webdriver  # pants: no-infer-dep  of another environment
from selenium.common.exceptions import JavascriptException  # pants: no-infer-dep
from selenium.webdriver.chrome.options import Options  # pants: no-infer-dep
from selenium.webdriver.chrome.service import Service  # pants: no-infer-dep

_SECONDS = 60
_POLL_SECONDS = 0.1


def main(url, script):
    options = Options()
    options.binary_location = shutil.which("chromium")
    # In a container there is neither a sandbox of its own nor much shared memory.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))) as browser:
        browser.get(url)
        deadline = time.monotonic() + _SECONDS
        seen = None
        while not seen and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            try:
                seen = browser.execute_script(script)
            except JavascriptException as error:
                # Of a page that is on its way.
                print(error, file=sys.stderr)
        complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        print(json.dumps({"seen": seen, "complaints": complaints, "url": browser.current_url, "title": browser.title}))


if __name__ == "__main__":
    main(*sys.argv[1:])
