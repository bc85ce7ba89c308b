/** Longest text of a message in bytes. */
const TEXT_LIMIT = 4_096;
/** Most files of one message. */
const FILES_PER_MESSAGE = 10;

/** A message with a text, which may be empty if there are files. */
function textMessage(text, attachments) {
  if (typeof text !== "string" || (text === "" && attachments.length === 0)) throw new TypeError("invalid message: empty or not a string");
  if (new TextEncoder().encode(text).length > TEXT_LIMIT) throw new RangeError(`invalid message: more than ${TEXT_LIMIT} bytes`);
  if (attachments.length > FILES_PER_MESSAGE) throw new RangeError(`invalid message: more than ${FILES_PER_MESSAGE} files`);
  return { ...(text === "" ? {} : { text }), ...(attachments.length === 0 ? {} : { attachments }) };
}

/** The answer to a message by its choices. */
function choiceAnswer(message, type, choices) {
  if (choices.length === 0) throw new TypeError("invalid answer: no choice");
  const content = choices.map(({ text, payload }) => ({
    contentType: "ButtonResponse",
    buttonResponse: { type, text, payload, originatingMessageId: message.id },
  }));
  return { content };
}

/** The answer to a form of a message. */
function formAnswer(message, form, fields) {
  const values = Object.entries(fields).flatMap(([id, field]) => [field].flat().map((value) => ({ id, value })));
  const response = values.map(({ id, value }) => {
    const { text, payload } = typeof value === "string" ? { text: value, payload: value } : value;
    return { id, component: { contentType: "ButtonResponse", buttonResponse: { type: "Form", text, payload } } };
  });
  const { cannedResponseId } = form;
  return { content: [{ contentType: "Form", form: { originatingMessageId: message.id, cannedResponseId, response } }] };
}

export { FILES_PER_MESSAGE, TEXT_LIMIT, choiceAnswer, formAnswer, textMessage };
