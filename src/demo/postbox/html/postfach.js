// Reloads the list once another mail has arrived.
const received = document.querySelector("[data-received]").dataset.received;
setInterval(async () => {
  try {
    const answer = await fetch("/anzahl", { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== received) location.reload();
  } catch { /* the postbox is away; the next round asks again */ }
}, 2000);
