// Exchanges the token for the session cookie.

const form = document.getElementById("login");
const token = document.getElementById("token");
const problem = document.getElementById("problem");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.textContent = "";
  try {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "content-type": "application/json", "x-guest-sessions-csrf": "1" },
      body: JSON.stringify({ token: token.value }),
    });
    if (answer.ok) {
      location.reload();
      return;
    }
    problem.textContent = (await answer.json()).message;
  } catch {
    problem.textContent = "The gateway does not answer. Check that it runs.";
  }
  token.select();
});
