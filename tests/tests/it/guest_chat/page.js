import "/guest-chat.js";

const post = async (path, body) => {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  if (response.status === 204) return null;
  const answer = await response.json();
  // the code of an error lets the chat ask again
  if (!response.ok) throw Object.assign(new Error(answer.message), answer);
  return answer;
};

const chat = document.querySelector("guest-chat");
let current = null;
// the backend keeps the session of the browser, as by a cookie
const open = async (choices) => {
  current = await post("/chat", choices);
  if (current === null) return null;
  return { ...current, refresh: (id) => post("/chat/refresh", { id }) };
};
chat.start(open, {
  end: () => post("/chat/end", { id: current.guestSessionId }),
  changeConsent: (choices) => post("/chat/consent", { id: current.guestSessionId, choices }),
});
