// The program of the hub's documentation: chat, streamed chat and an image through AIGNEHub classes.
import { AIGNEHubChatModel, AIGNEHubImageModel } from "@aigne/aigne-hub";

const [baseUrl, apiKey] = process.argv.slice(2);

const chat = new AIGNEHubChatModel({ baseUrl, baseURL: baseUrl, apiKey, model: "aignehub/openai/gpt-5-mini" });
const messages = [{ role: "user", content: "Hello, AIGNE Hub!" }];
const answer = await chat.invoke({ messages });

const stream = await chat.invoke({ messages }, { streaming: true });
let streamed = "";
for await (const chunk of stream) {
  streamed += chunk.delta?.text?.text ?? "";
}

const image = new AIGNEHubImageModel({ baseUrl, baseURL: baseUrl, apiKey, model: "aignehub/openai/gpt-image-1", modelOptions: {} });
const drawn = await image.invoke({ prompt: "a cat", outputFileType: "file" });

let refused = "";
try {
  const stranger = new AIGNEHubChatModel({ baseUrl, baseURL: baseUrl, apiKey: "ahk_wrong", model: "aignehub/openai/gpt-5-mini" });
  await stranger.invoke({ messages });
} catch (error) {
  refused = error.type ?? String(error);
}

console.log(JSON.stringify({ text: answer.text, streamed, images: drawn.images.length, refused }));
