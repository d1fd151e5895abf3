() => {
  // What Gradio's parts lack for those who use a keyboard, or hear the page: run once when it is there.
  const STEP = 0.02, LARGE = 0.1; // of the width
  const ENDS = { Home: -Infinity, End: Infinity };
  const WAYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };
  const PICTURES = {
    "#examples": number => `Generated room ${number + 1}`,
    "#photograph": () => "The photograph",
    "#slider": number => (number ? "The layer beside it" : "The photograph"),
    "#picture": () => "The layer, with a cross at the place whose values are told",
  };

  const line = () => document.querySelector("#slider .outer");
  const boxes = handle => [handle, handle.parentElement].map(each => each.getBoundingClientRect());
  const middle = box => (box.left + box.right) / 2;

  function told(handle) {
    const [box, within] = boxes(handle);
    const share = within.width ? (middle(box) - within.left) / within.width : 0.5;
    handle.setAttribute("aria-valuenow", Math.round(100 * share));
  }

  // Gradio moves the line with a mouse alone: the same way, by as much as a key says.
  function moved(handle, way) {
    const [box, within] = boxes(handle);
    const from = middle(box), y = (box.top + box.bottom) / 2;
    const to = Math.min(within.right, Math.max(within.left, from + way * within.width));
    const at = x => ({ bubbles: true, cancelable: true, view: window, button: 0, clientX: x, clientY: y });
    handle.dispatchEvent(new MouseEvent("mousedown", at(from)));
    window.dispatchEvent(new MouseEvent("mousemove", at(to)));
    window.dispatchEvent(new MouseEvent("mouseup", at(to)));
    requestAnimationFrame(() => told(handle));
  }

  // Per cent of the width and the height of the pixels, which the element has at their own shape in its middle.
  function placeIn(image, event) {
    if (!image?.naturalWidth) return "";
    const box = image.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    const across = (event.clientX - box.left - (box.width - width) / 2) / width;
    const down = (event.clientY - box.top - (box.height - height) / 2) / height;
    return Math.min(across, down) < 0 || Math.max(across, down) > 1 ? "" : `${(100 * across).toFixed(1)} ${(100 * down).toFixed(1)}`;
  }

  function dressed() {
    const handle = line();
    if (handle && !handle.hasAttribute("tabindex")) {
      const says = { role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": 100 };
      says["aria-label"] = "Line between the photograph and the layer, per cent of the width";
      Object.entries(says).forEach(([name, value]) => handle.setAttribute(name, value));
      told(handle);
    }
    document.querySelectorAll("#space canvas").forEach(canvas => {
      if (canvas.tabIndex !== 0) canvas.tabIndex = 0; // in the order of the page
      if (!canvas.ariaLabel) canvas.ariaLabel = "The scene in space: arrow keys turn it";
    });
    for (const [place, says] of Object.entries(PICTURES)) {
      document.querySelectorAll(`${place} img`).forEach((image, number) => (image.alt ||= says(number)));
    }
  }

  new MutationObserver(dressed).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("keydown", event => {
    const handle = line(), way = ENDS[event.key] ?? WAYS[event.key] * (event.shiftKey ? LARGE : STEP);
    if (!handle || event.target !== handle || Number.isNaN(way)) return;
    event.preventDefault();
    moved(handle, way);
  });
  const settled = () => line() && told(line());
  for (const end of ["mouseup", "touchend"]) document.addEventListener(end, () => setTimeout(settled, 50)); // drawn by then

  // Values under a mouse: Gradio tells of clicks alone. The place goes into a field that nobody sees.
  let sent = "", again = 0;
  document.addEventListener("pointermove", event => {
    const field = document.querySelector("#pointer :is(textarea, input)");
    if (!field || event.pointerType !== "mouse") return;
    const place = placeIn(event.target.closest?.("#picture img"), event);
    if (place === sent) return;
    sent = place;
    const tell = text => {
      field.value = text;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    };
    tell(place);
    clearTimeout(again); // Gradio may lose what comes while it asks: where the mouse rests is told once more
    again = setTimeout(() => tell(`${place} `), 400);
  });
  document.addEventListener("keydown", () => clearTimeout(again)); // who types has left the mouse
  dressed();
}
