#!/usr/bin/env python3
"""Puts files into a folder through the upload field of its page, in headless Chromium.

upload.py BROWSER HOME URL FILE... [-- USER PASSWORD]

The browser is driven through a pair of pipes. The last line is what the page shows in the end."""

import base64
import json
import os
import subprocess
import sys
import time

LIMIT = 60


class Browser:
    def __init__(self, program, home):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # The browser reads commands on descriptor 3, and writes to descriptor 4.
        os.set_inheritable(theirs_in, True)
        os.set_inheritable(theirs_out, True)
        command = (
            f"exec {program} --headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run"
            f" --disable-background-networking --disable-component-update --disable-sync"
            f" --user-data-dir='{home}' --remote-debugging-pipe 3<&{theirs_in} 4>&{theirs_out}"
        )
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            pass_fds=[theirs_in, theirs_out],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.input, self.output = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        self.number, self.session, self.login = 0, None, None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def say(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.output.write(json.dumps(message).encode() + b"\0")
        self.output.flush()
        return self.number

    def hear(self):
        text = bytearray()
        while (byte := self.input.read(1)) != b"\0":
            if not byte:
                sys.exit("the browser ended")
            text += byte
        return json.loads(text)

    def ask(self, method, **params):
        number = self.say(method, **params)
        while True:
            message = self.hear()
            if message.get("id") == number:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.react(message)

    def react(self, message):
        """Answers a question for a password, and lets other paused requests go on."""
        params = message.get("params", {})
        if message.get("method") == "Fetch.authRequired":
            answer = {"response": "CancelAuth"}
            if self.login:
                user, password = self.login
                answer = {"response": "ProvideCredentials", "username": user, "password": password}
            self.say(
                "Fetch.continueWithAuth",
                requestId=params["requestId"],
                authChallengeResponse=answer,
            )
        elif message.get("method") == "Fetch.requestPaused":
            self.say("Fetch.continueRequest", requestId=params["requestId"])

    def evaluate(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def wait(self, expression):
        """The first value of the expression that is true in the page."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.05)
        sys.exit(f"never true: {expression}; the page: {self.evaluate('document.body.innerText')}")


def main():
    arguments = sys.argv[1:]
    login = None
    if "--" in arguments:
        at = arguments.index("--")
        login, arguments = arguments[at + 1 :], arguments[:at]
    program, home, url, *files = arguments
    browser = Browser(program, home)
    if login:
        browser.login = login
        browser.ask("Fetch.enable", handleAuthRequests=True)
    browser.ask("Page.enable")
    browser.ask("Page.navigate", url=url)
    browser.wait("!!document.querySelector('#upload:not([hidden])')")
    # A second script would be stopped by the policy. What is watched stands outside of the page.
    document = browser.ask("DOM.getDocument")["root"]["nodeId"]
    field = browser.ask("DOM.querySelector", nodeId=document, selector="#upload input")["nodeId"]
    browser.ask("DOM.setFileInputFiles", nodeId=field, files=[os.path.abspath(f) for f in files])
    browser.evaluate("window.before = true")
    browser.evaluate("document.querySelector('#upload button').click()")
    # A page on which all went well is loaded again.
    browser.wait(
        "!window.before && document.readyState === 'complete' || "
        "document.querySelectorAll('#upload li progress[hidden]').length === " + str(len(files))
    )
    if "UPLOAD_PICTURE" in os.environ:
        shot = browser.ask("Page.captureScreenshot")["data"]
        with open(os.environ["UPLOAD_PICTURE"], "wb") as picture:
            picture.write(base64.b64decode(shot))
    print(browser.evaluate("document.body.innerText.replaceAll('\\n', ' | ')"))
    browser.say("Browser.close")
    browser.process.kill()
    browser.process.wait()


main()
