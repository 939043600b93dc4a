"use strict";
(function () {
  const stored = (id) => JSON.parse(document.getElementById(id).textContent);
  const config = {
    responsive: true, displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };

  // --- tables: a click on a heading sorts; cells without a number come last either way -------------------------------

  function key(row, column) {
    const cell = row.cells[column];
    if ("value" in cell.dataset) {
      return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    }
    return cell.textContent.trim().toLowerCase();
  }

  function compare(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  }

  function sortBy(heading) {
    const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.cells) { other.removeAttribute("aria-sort"); }
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = Array.from(body.rows).map((row) => [key(row, column), row]);
    rows.sort(function (one, other) {
      if (one[0] === null || other[0] === null) { return (one[0] === null) - (other[0] === null); }
      return (rising ? 1 : -1) * compare(one[0], other[0]);
    });
    body.append(...rows.map((pair) => pair[1]));
  }

  for (const heading of document.querySelectorAll("table.sortable thead th")) {
    heading.querySelector("button").addEventListener("click", () => sortBy(heading));
  }

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", function () {
      const range = document.createRange();
      range.selectNodeContents(document.getElementById(button.dataset.of));
      const selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      document.execCommand("copy"); // navigator.clipboard needs a secure context, which a file is not everywhere
      button.textContent = "copied";
    });
  }

  // --- figures --------------------------------------------------------------------------------------------------------

  async function draw() {
    for (const place of document.querySelectorAll(".plot[data-figure]")) {
      const figure = stored("figure-" + place.dataset.figure);
      await Plotly.newPlot(place, figure.data, figure.layout, config);
      if (place.id === "map") { startMap(place); }
      await new Promise((done) => setTimeout(done, 0));
    }
    document.body.dataset.ready = "true";
  }

  // --- the map and its slider -----------------------------------------------------------------------------------------

  function startMap(place) {
    const data = stored("data-map"), slider = document.getElementById("slot");
    const shown = document.getElementById("slot-name"), told = document.getElementById("map-text");
    const play = document.getElementById("play");
    const first = place.data.length - 3; // not scored, at zero, coloured
    let timer = null;

    function chosen(name) {
      const found = document.querySelector('input[name="' + name + '"]:checked');
      return found ? Number(found.value) : 0;
    }

    function text(value, quantity) {
      return Number(value.toPrecision(3)) + " " + quantity.unit;
    }

    function largest(quantity, slot) { // over all controllers, and over all slots for one: colours stay comparable
      let most = 0;
      for (const name of data.controllers) {
        const rows = slot === 0 ? [quantity.values[name][0]] : quantity.values[name].slice(1);
        for (const row of rows) { for (const value of row) { most = Math.max(most, value || 0); } }
      }
      return most || 1;
    }

    function show() {
      const slot = Number(slider.value), quantity = data.quantities[chosen("quantity")];
      const name = data.controllers[chosen("controller")], values = quantity.values[name][slot];
      const parts = [[], [], []]; // bus numbers: not scored, at zero, above
      values.forEach((value, bus) => parts[value === null ? 0 : value > 0 ? 2 : 1].push(bus));
      parts[2].sort((a, b) => values[a] - values[b]); // the worst on top
      const label = (bus) => data.buses[bus] + "<br>" + (values[bus] === null ? "not scored" : text(values[bus], quantity));
      Plotly.restyle(place, {
        x: parts.map((buses) => buses.map((bus) => data.xy[bus][0])),
        y: parts.map((buses) => buses.map((bus) => data.xy[bus][1])),
        text: parts.map((buses) => buses.map(label)),
      }, [first, first + 1, first + 2]);
      Plotly.restyle(place, {
        "marker.color": [parts[2].map((bus) => values[bus])],
        "marker.cmin": 0, "marker.cmax": largest(quantity, slot),
        "marker.colorbar.title.text": quantity.unit,
      }, [first + 2]);
      shown.textContent = slot === 0 ? "whole day" : data.slots[slot - 1];
      const scored = parts[1].length + parts[2].length, worst = parts[2][parts[2].length - 1];
      told.textContent = quantity.title + ", " + (slot === 0 ? "whole day" : data.slots[slot - 1]) + ": " +
        (worst === undefined ? "none at any of " + scored + " buses." :
          parts[2].length + " of " + scored + " buses; most at " + plain(data.buses[worst]) + " with " +
          text(values[worst], quantity) + ".");
    }

    function plain(escaped) {
      const box = document.createElement("textarea"); // its content is text, never markup
      box.innerHTML = escaped;
      return box.value;
    }

    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    }

    slider.addEventListener("input", show);
    for (const input of document.querySelectorAll('input[name="controller"], input[name="quantity"]')) {
      input.addEventListener("change", show);
    }
    play.addEventListener("click", function () {
      if (timer !== null) { stop(); return; }
      play.textContent = "Pause";
      timer = setInterval(function () {
        slider.value = String(Number(slider.value) % Number(slider.max) + 1);
        show();
      }, 700);
    });
    show();
  }

  window.addEventListener("beforeprint", function () {
    for (const part of document.querySelectorAll("details")) { part.open = true; }
    for (const place of document.querySelectorAll(".js-plotly-plot")) { Plotly.Plots.resize(place); }
  });

  draw();
})();
