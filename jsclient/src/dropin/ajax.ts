import type { AjaxOptions, MessageBusSettings } from './settings.ts';

/** Sends requests where there is no jQuery: as much of `jQuery.ajax` as the drop-in needs. */
export function ownAjax(settings: Pick<MessageBusSettings, 'xhrImplementation'>, options: AjaxOptions): XMLHttpRequest {
  const xhr = new (settings.xhrImplementation ?? XMLHttpRequest)();
  xhr.open(options.type, options.url);
  for (const [name, value] of Object.entries(options.headers)) xhr.setRequestHeader(name, value);
  xhr.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded');
  if (options.messageBus.chunked) options.messageBus.onProgressListener(xhr);
  xhr.onreadystatechange = () => {
    if (xhr.readyState !== 4) return;
    if ((xhr.status >= 200 && xhr.status < 300) || xhr.status === 304) options.success(xhr.responseText);
    else options.error(xhr, xhr.statusText);
    options.complete();
  };
  xhr.send(new URLSearchParams(options.data as Record<string, string>).toString());
  return xhr;
}
