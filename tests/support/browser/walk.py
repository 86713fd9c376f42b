"""A person with JupyterLab in a browser: opens a notebook, runs its only cell and reads what stands below it to the end.

    python walk.py URL LINES

prints a line of JSON as soon as the cell has printed a quarter of its lines, and another one at the end.

    python walk.py URL

runs the cell the moment the notebook has a kernel, be that up or not. It prints a line of JSON as soon as something stands
below the cell, and another one when the cell has ended and the notebook is saved. It runs in the environment that
`requirements.txt` beside it describes.
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
_STATUS = """
const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
const kernel = panel && panel.sessionContext && panel.sessionContext.session && panel.sessionContext.session.kernel;
return kernel ? kernel.connectionStatus + ' ' + kernel.status : '';
"""
_RUN = "window.jupyterapp.commands.execute('notebook:run-all-cells');"
_SHOWN = "return [...document.querySelectorAll('.jp-OutputArea-output pre')].map(shown => shown.textContent).join('');"
_SAVE = "window.jupyterapp.commands.execute('docmanager:save');"
_SAVED = "return !window.jupyterapp.shell.currentWidget.context.model.dirty;"
_PROMPT = "return document.querySelector('.jp-InputPrompt').textContent;"


def _until(browser, script, wanted):
    deadline = time.monotonic() + _SECONDS
    seen = None
    while time.monotonic() < deadline:
        try:
            seen = browser.execute_script(script)
        except JavascriptException as error:
            seen = str(error)
        else:
            if wanted(seen):
                return seen
        time.sleep(0.1)
    raise TimeoutError(f"not within {_SECONDS} s; seen last: {str(seen)[-300:]}")


def _say(**facts):
    print(json.dumps(facts), flush=True)


def _walk(browser, lines):
    _until(browser, _STATUS, lambda status: status == "connected idle")
    browser.execute_script(_RUN)
    _until(browser, _SHOWN, lambda shown: len(shown.split()) > lines // 4)
    _say(prompt=browser.execute_script(_PROMPT))
    # As long as a cell runs, a star stands beside it.
    prompt = _until(browser, _PROMPT, lambda prompt: "*" not in prompt)
    _say(prompt=prompt, shown=browser.execute_script(_SHOWN), status=browser.execute_script(_STATUS))


def _run_at_once(browser):
    status = _until(browser, _STATUS, bool)
    browser.execute_script(_RUN)
    shown = _until(browser, _SHOWN, bool)
    _say(status=status, prompt=browser.execute_script(_PROMPT), shown=shown)
    prompt = _until(browser, _PROMPT, lambda prompt: "*" not in prompt)
    shown = browser.execute_script(_SHOWN)
    browser.execute_script(_SAVE)
    _until(browser, _SAVED, bool)
    _say(prompt=prompt, shown=shown, status=browser.execute_script(_STATUS))


def main(url, lines=None):
    options = Options()
    options.binary_location = shutil.which("chromium")
    # In a container there is neither a sandbox of its own nor much shared memory.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    with webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))) as browser:
        browser.get(url)
        if lines is None:
            _run_at_once(browser)
        else:
            _walk(browser, int(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
