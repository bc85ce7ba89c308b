// Ends the session of the browser.

document.getElementById("logout").addEventListener("click", async () => {
  await fetch("/logout", { method: "POST", headers: { "x-guest-sessions-csrf": "1" } });
  location.reload();
});
