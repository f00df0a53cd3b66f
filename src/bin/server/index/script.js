"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];

  // Show dates in the reader's time zone and language.
  const days = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const clocks = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
  for (const time of all("time")) {
    const date = new Date(time.dateTime);
    if (isNaN(date)) continue;
    time.title = time.textContent + " UTC";
    const clock = document.createElement("span");
    clock.className = "clock";
    clock.textContent = ", " + clocks.format(date);
    time.replaceChildren(days.format(date), clock);
  }
  for (const zone of all(".zone")) zone.remove();

  // Search while the reader types, if the page has every entry of the folder.
  const field = document.getElementById("q");
  const found = document.getElementById("found");
  if (field && found && "whole" in document.body.dataset) {
    const rows = all("tbody tr").map((row) => [row, row.cells[0].textContent.toLowerCase()]);
    const before = found.textContent;
    field.addEventListener("input", () => {
      const text = field.value.toLowerCase();
      let count = 0;
      for (const [row, name] of rows) {
        row.hidden = !name.includes(text);
        if (!row.hidden) count++;
      }
      found.textContent = text ? count + " of " + rows.length + " shown" : before;
    });
  }

  const copy = (code) => {
    getSelection().selectAllChildren(code);
    // Browsers offer the clipboard only to pages from https or from this machine.
    if (navigator.clipboard) return navigator.clipboard.writeText(code.textContent);
    return document.execCommand("copy") ? Promise.resolve() : Promise.reject();
  };
  const copier = (button, code) => {
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", () => {
      copy(code).then(
        () => { button.textContent = "Copied"; },
        () => { button.textContent = "Press Ctrl+C"; });
      setTimeout(() => { button.textContent = label; }, 2500);
    });
  };
  for (const button of all("button[data-copy]")) {
    copier(button, document.getElementById(button.dataset.copy));
  }

  // Show the command of a file in a dialog. A shell needs no quotes around the characters
  // that a link here may have.
  const base = document.body.dataset.command;
  const dialog = document.querySelector("dialog");
  if (base && dialog && dialog.showModal) {
    const code = dialog.querySelector("code");
    dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-c]");
      if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const name = link.getAttribute("href").split("?")[0];
      if (!/^[A-Za-z0-9._~%-]+$/.test(name)) return;
      event.preventDefault();
      code.textContent = base + name;
      dialog.showModal();
    });
  }
})();
