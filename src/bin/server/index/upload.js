"use strict";
(() => {
  const section = document.getElementById("upload");
  const form = section.querySelector("form");
  const [field, button] = [form.querySelector("input"), form.querySelector("button")];
  const list = section.querySelector("ul");
  const make = (name, text) => {
    const element = document.createElement(name);
    element.textContent = text;
    return element;
  };
  section.hidden = false;

  // Files up to this size are sent at once. A larger one waits for the answer to a small request,
  // so that the browser has proved the password before it sends the file.
  const SMALL = 1 << 20;
  let running = 0;

  // A line of the list: the name of a file, how far it has come, and what became of it.
  const line = (file) => {
    const row = document.createElement("li");
    const bar = document.createElement("progress");
    const state = make("span", "waits");
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", file.name);
    row.append(make("b", file.name), bar, state);
    list.append(row);
    return {
      at: (part) => {
        bar.value = part;
        state.textContent = part < 1 ? Math.floor(part * 100) + "%" : "waits for the disk";
      },
      ends: (words, good) => {
        bar.hidden = true;
        state.textContent = words;
        state.className = good ? "" : "bad";
      },
      offer: (label, act) => {
        const offered = make("button", label);
        offered.type = "button";
        offered.addEventListener("click", () => { row.remove(); act(); });
        row.append(offered);
      },
    };
  };

  // The server's own words about a refusal.
  const reason = (request) => {
    try {
      return JSON.parse(request.responseText).error;
    } catch {
      return request.status + " " + request.statusText;
    }
  };

  // Sends a file. The answer is whether it is in place.
  const put = (file, shown, replace) => new Promise((done) => {
    const request = new XMLHttpRequest();
    const fail = (words) => { shown.ends(words, false); done(false); };
    request.open("PUT", encodeURIComponent(file.name));
    if (!replace) request.setRequestHeader("If-None-Match", "*");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable && event.total) shown.at(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      if (request.status === 201 || request.status === 204) {
        shown.ends("is in place", true);
        return done(true);
      }
      if (request.status === 412 && !replace) {
        shown.offer("Replace it", () => sendAll([file], true));
        return fail("a file of this name is there already");
      }
      fail(reason(request));
    });
    request.addEventListener("error", () => fail("the connection broke, or the file cannot be read"));
    request.send(file);
  });

  const send = async (file, shown, replace) => {
    try {
      if (file.size > SMALL) await fetch("./", { method: "HEAD", cache: "no-store" });
      return await put(file, shown, replace);
    } catch (error) {
      shown.ends(error.message, false);
      return false;
    }
  };

  const sendAll = async (files, replace) => {
    running++;
    const shown = files.map(line);
    let good = true;
    for (const [at, file] of files.entries()) good = await send(file, shown[at], replace) && good;
    running--;
    // The page shows the new files when nothing is left to be read.
    if (!running && good && !list.querySelector(".bad")) location.reload();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const files = [...field.files];
    field.value = "";
    button.disabled = true;
    if (files.length) sendAll(files, false);
  });
  field.addEventListener("change", () => { button.disabled = !field.files.length; });
  button.disabled = true;
  addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
})();
