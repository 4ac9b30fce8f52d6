'use strict';
// Makes the pages more comfortable; each of them works without it.
(() => {
  const { status, returnTo } = document.body.dataset;
  const find = (selector) => document.querySelector(selector);

  // Reload and Back ask for the answer to a form again: by GET, so that nothing is sent twice and no try is used up. A form
  // of the calculator's that got no further than us is not ours to change.
  const ours = new URL('..', document.currentScript.src).pathname;
  if (location.pathname.startsWith(ours)) history.replaceState(history.state, '', location.href);

  // A browser sends the fragment of a deep link to nobody, so that links between the pages have to keep it.
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a');
    if (link && 'keepFragment' in link.dataset && !link.hash) link.hash = location.hash;
    if (link && 'focus' in link.dataset) {
      event.preventDefault();
      find(link.hash).focus();
    }
  });

  // Where what was typed could not be kept, the browser still has it, one page back.
  for (const button of document.querySelectorAll('[data-back]')) {
    button.addEventListener('click', () => history.back());
    button.closest('[hidden]').hidden = false;
  }

  // Whoever comes back to a form that can be sent once is to see what became of it.
  addEventListener('pageshow', (event) => {
    if (event.persisted && find('form[data-once]')) location.reload();
  });

  // Whoever sees what they type mistypes less. It is hidden again before it is sent, or browsers would remember it as a text.
  for (const button of document.querySelectorAll('[data-reveal]')) {
    const field = document.getElementById(button.dataset.reveal);
    const show = button.textContent;
    const toggle = (type) => {
      field.type = type;
      button.textContent = type === 'text' ? button.dataset.hide : show;
    };
    button.addEventListener('click', () => {
      toggle(field.type === 'text' ? 'password' : 'text');
      field.focus();
    });
    field.form.addEventListener('submit', () => toggle('password'));
    addEventListener('pageshow', () => toggle('password'));
    button.closest('[hidden]').hidden = false;
  }

  // What a page waits for is known in so many seconds.
  const reload = find('[data-reload]');
  if (reload) setTimeout(() => location.reload(), Number(reload.dataset.reload) * 1000);

  // A second press while the first is under way would be a second request.
  const pressed = new Set();
  const release = () => {
    for (const button of pressed) button.disabled = false;
    pressed.clear();
  };
  document.addEventListener('submit', (event) => {
    const form = event.target;
    if ('keepFragment' in form.dataset && !form.action.includes('#')) form.action += location.hash;
    const button = event.submitter ?? form.querySelector('button');
    // Only after the form was read, or its own name and value would be missing from it.
    setTimeout(() => {
      button.disabled = true;
      pressed.add(button);
    });
    setTimeout(release, 10_000);
  });
  addEventListener('pageshow', release);

  const waiting = find('form[data-wait]');
  if (waiting) countDown(waiting);

  // The server keeps the time as well; this only shows it.
  function countDown(form) {
    const button = form.querySelector('button');
    const text = form.querySelector('#wait');
    const ready = form.querySelector('[data-ready]');
    const seconds = new Intl.NumberFormat(document.documentElement.lang, { style: 'unit', unit: 'second', unitDisplay: 'long' });
    const end = Date.now() + Number(form.dataset.wait) * 1000;
    const tick = () => {
      const left = Math.ceil((end - Date.now()) / 1000);
      if (left > 0) {
        text.firstElementChild.textContent = seconds.format(left);
        return;
      }
      clearInterval(timer);
      button.disabled = false;
      text.remove();
      ready.textContent = ready.dataset.ready;
    };
    button.disabled = true;
    const timer = setInterval(tick, 1000);
    addEventListener('pageshow', (event) => {
      if (!event.persisted) return;
      button.disabled = Date.now() < end;
      tick();
    });
  }

  if (status) watch();

  // Asks whether another tab has signed in, and what became of the mail.
  function watch() {
    const soonest = 2_000;
    const latest = 10_000;
    const levels = ['without-submission', 'full'];
    let delay = soonest;
    let timer;
    let first;
    let channel;

    const ask = async () => {
      if (document.hidden) return;
      try {
        const response = await fetch(status, { cache: 'no-store', redirect: 'error', headers: { Accept: 'application/json' } });
        if (response.ok) take(await response.json());
      } catch {
        // No answer this time; the next one will do.
      }
      plan(delay);
      delay = Math.min(delay * 1.25, latest);
    };
    const plan = (wait) => {
      clearTimeout(timer);
      if (!document.hidden) timer = setTimeout(ask, wait);
    };
    const soon = () => {
      delay = soonest;
      plan(0);
    };

    const take = (answer) => {
      const level = answer.signed_in ? levels.indexOf(answer.level ?? 'full') : -1;
      first ??= level;
      // Whoever is signed in without submission and came here to confirm the e-mail stays here.
      if (level > first || level === levels.indexOf('full')) return goOn();
      showMail(answer);
    };
    const goOn = () => {
      channel?.postMessage('signed-in');
      const target = new URL(returnTo, location.origin);
      if (target.origin !== location.origin) return;
      if (location.hash) target.hash = location.hash;
      location.replace(target.href);
    };
    const said = (node) => node.textContent.replace(/\s+/g, ' ').trim();
    const showMail = (answer) => {
      const line = find('#mail');
      const text = find(`[data-mail-text="${CSS.escape(answer.mail)}"]`);
      if (!line || !text) return;
      const words = text.content.cloneNode(true);
      for (const time of words.querySelectorAll('[data-time]')) time.textContent = answer[time.dataset.time] ?? '';
      // What is said already would only be read out once more.
      if (said(words) === said(line)) return;
      line.replaceChildren(words);
      line.dataset.mail = answer.mail;
    };

    const listen = () => {
      if (!('BroadcastChannel' in window)) return;
      channel ??= new BroadcastChannel('vtnr-gateway');
      channel.onmessage = soon;
    };
    // An open channel would keep the page out of the back/forward cache.
    addEventListener('pagehide', () => {
      clearTimeout(timer);
      channel?.close();
      channel = undefined;
    });
    addEventListener('pageshow', (event) => {
      listen();
      if (event.persisted) soon();
    });
    document.addEventListener('visibilitychange', soon);
    document.addEventListener('submit', () => channel?.postMessage('submitted'));
    listen();
    plan(soonest);
  }
})();
