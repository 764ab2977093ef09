/** Elements of the page by their id, and how new ones are made. */

export const byId = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;
export const input = (id: string) => byId<HTMLInputElement>(id);
export const show = (id: string, visible: boolean) => {
  byId(id).hidden = !visible;
};
export const say = (id: string, text: string) => {
  byId(id).textContent = text;
};

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]>,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
