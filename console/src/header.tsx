/* header.tsx - the bar on top: which node this is, whether its data arrives, language, theme, sign out. */
import * as api from "./api";
import { lang, setLang, t } from "./i18n";
import { isBad } from "./rows";
import { failure, loaded, points, tick } from "./source";
import { about, dialog, leave, nextTheme, theme } from "./state";
import { LANGS } from "./strings";
import { Icon } from "./widgets";

export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" /><path class="low" d="M5 21c3.5 0 3.5-3 7-3s3.5 3 7 3 3.5-3 8-3" /><path d="M5 14.5c3.5 0 3.5-5 7-5s3.5 5 7 5 3.5-5 8-5" /></svg>
);

export const LangSwitch = () => (
  <div class="segmented" role="group" aria-label={t("lang.switch")}>
    {LANGS.map((l) => <button type="button" lang={l} aria-pressed={lang.value === l} onClick={() => setLang(l)}>{t(`lang.${l}`)}</button>)}
  </div>
);

export const ThemeButton = () => (
  <button type="button" class="quiet square" title={t(`theme.${theme.value}`)} aria-label={t(`theme.${theme.value}`)} onClick={nextTheme}><Icon name={theme.value} /></button>
);

function Health() {
  void tick.value;
  const bad = points.value.filter(isBad).length;
  if (!loaded.value && !failure.value) return <span class="health dim">{t("loading")}</span>;
  return (
    <span class="health">
      <span class={failure.value ? "pulse off" : "pulse"}><i />{t(failure.value ? "head.paused" : "head.live")}</span>
      <span class="dim">{t("head.points", { n: points.value.length })}</span>
      {points.value.length > 0 && (bad > 0
        ? <span class="badge bad"><Icon name="bad" />{t("head.notGood", { n: bad })}</span>
        : <span class="badge good"><Icon name="good" />{t("head.allGood")}</span>)}
    </span>
  );
}

async function signOut(): Promise<void> {
  // Whatever the node answers, this page forgets what it shows.
  await api.logout().catch(() => undefined);
  leave();
}

export function Header() {
  const node = about.value?.node;
  return (
    <header class="top">
      <h1><Mark /><span>{t("app.title")}</span></h1>
      <span class="node" title={about.value?.version}><b>{node?.name}</b>{node?.path && <span class="dim">{node.path}</span>}</span>
      <Health />
      <button type="button" class="quiet" onClick={() => location.assign("broker.html")}>{t("head.broker")}</button>
      <button type="button" class="primary add" title={t("head.add")} onClick={() => { dialog.value = { kind: "add" }; }}><Icon name="plus" /><span>{t("head.add")}</span></button>
      <LangSwitch />
      <ThemeButton />
      <button type="button" class="quiet square" title={t("logout")} aria-label={t("logout")} onClick={() => void signOut()}><Icon name="exit" /></button>
    </header>
  );
}
