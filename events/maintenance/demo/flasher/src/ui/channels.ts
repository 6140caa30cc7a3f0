import { Codeplug, packChannels, packContacts, packPicture, packScanLists, packZones } from "../codeplug";

/** Fill the table with the channels of a zone. */
export function renderChannels(codeplug: Codeplug, zone: number): void {
  const table = document.querySelector("#channels");
  table.replaceChildren();
  const channels = codeplug./*@render-channels*/channelsIn(zone);
  channels.forEach((channel) => {
    const row = document.createElement("tr");
    row.append(cell(channel.name), cell((channel.rx / 100000).toFixed(5)));
    table.append(row);
  });
}

export function cell(text: string): HTMLElement {
  const element = document.createElement("td");
  element.textContent = text;
  return element;
}

/** Show an editor for the memory of a radio, and save what was changed. */
export function openEditor(memory: Uint8Array, save: SaveCallback): void {
  const codeplug = new Codeplug(memory);
  codeplug./*@editor-decodes*/decode();
  document.querySelector("#zone").addEventListener("input", (event) => {
    /*@zone-input*/renderChannels(codeplug, Number(event.target.value));
  });
  document.querySelector("#save").addEventListener("click", () => {
    const contacts = codeplug.contacts;
    const parts = [/*@save-channels*/packChannels(codeplug), /*@save-zones*/packZones(codeplug)];
    /*@save-contacts*/packContacts(contacts);
    /*@save-scan-lists*/packScanLists(codeplug);
    /*@save-picture*/packPicture(codeplug.picture);
    save(parts);
  });
}
