/* login.tsx - the first thing a person sees. The session it opens is a cookie; nothing of it is kept in the page. */
import { useState } from "preact/hooks";
import * as api from "./api";
import { t } from "./i18n";
import { LangSwitch, Mark, ThemeButton } from "./header";
import { enter } from "./state";
import { Field } from "./widgets";

export function LoginPage() {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);

  async function submit(e: Event): Promise<void> {
    e.preventDefault();
    if (busy) return;
    setBusy(true);
    setWrong("");
    try {
      await api.login(user.trim(), password);
      await enter();
    } catch (failed) {
      setWrong(failed instanceof api.ApiError && failed.status === 401 ? t("login.wrong") : failed instanceof Error ? failed.message : String(failed));
    } finally {
      setBusy(false);
    }
  }
  return (
    <main class="login">
      <div class="corner"><LangSwitch /><ThemeButton /></div>
      <form class="card" onSubmit={(e) => void submit(e)}>
        <h1><Mark />{t("app.title")}</h1>
        <p class="dim">{t("login.lead")}</p>
        <Field label={t("login.user")}><input name="username" autocomplete="username" autocapitalize="none" autofocus required value={user} onInput={(e) => setUser(e.currentTarget.value)} /></Field>
        <Field label={t("login.password")}><input name="password" type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} /></Field>
        {wrong && <p class="error" role="alert">{wrong}</p>}
        <button type="submit" class="primary" disabled={busy}>{t(busy ? "login.busy" : "login.submit")}</button>
        <p class="hint">{t("login.hint")}</p>
      </form>
    </main>
  );
}
