package dashboard

import (
	"bytes"
	"errors"
	"html/template"
	"net/http"
	"strings"
)

// Paths of the pages.
const (
	Path       = "/dashboard/"
	loginPath  = Path + "login"
	logoutPath = Path + "logout"
	assetPath  = Path + "assets/"
)

// maxForm is the largest body of a form: a key.
const maxForm = 16 << 10

// policy lets the page run its own files and nothing else: no inline script or
// style, no eval, no string that becomes HTML, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

var pages = template.Must(template.New("").Funcs(template.FuncMap{"headline": headline}).ParseFS(pageFiles, "page/*.html"))

// routes are the pages. They are at most what a browser is shown; the data have
// paths of their own.
func (d *Dashboard) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"{$}", d.front)
	mux.HandleFunc("GET "+loginPath, d.askKey)
	mux.Handle("POST "+loginPath, http.NewCrossOriginProtection().Handler(http.HandlerFunc(d.login)))
	mux.HandleFunc("POST "+logoutPath, d.logout)
	mux.HandleFunc("GET "+assetPath+"{name}", asset)
	return mux
}

// ServeHTTP answers requests for the page, below Path.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	Guard(w.Header())
	d.pages.ServeHTTP(w, r)
}

// Guard sets the headers that keep a browser from doing anything with an answer
// but what the page was written to do.
func Guard(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would take the origin from the own forms as well
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
}

// front shows the page, or the way to it.
func (d *Dashboard) front(w http.ResponseWriter, r *http.Request) {
	if err := d.options.Gate.Admit(r); err != nil {
		if d.options.Gate.Locked() && r.Header.Get("Authorization") == "" {
			http.Redirect(w, r, loginPath, http.StatusSeeOther)
			return
		}
		d.refuse(w, err)
		return
	}
	show(w, http.StatusOK, "front.html", map[string]any{
		"Overview": d.Overview(r.Context()), "Host": r.Host, "Locked": d.options.Gate.Locked(),
		"Token": d.options.Gate.Token(r), "TokenHeader": TokenHeader,
	})
}

// askKey shows the form of the key.
func (d *Dashboard) askKey(w http.ResponseWriter, r *http.Request) {
	if !d.options.Gate.Locked() {
		http.Redirect(w, r, Path, http.StatusSeeOther)
		return
	}
	show(w, http.StatusOK, "login.html", map[string]any{"Host": r.Host, "Ended": r.URL.RawQuery == "ended", "Error": ""})
}

// login begins a session for who sends the key.
func (d *Dashboard) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		d.refuse(w, &formError{err})
		return
	}
	if err := d.options.Gate.Login(w, r, strings.TrimSpace(r.PostForm.Get("key"))); err != nil {
		d.options.Logger.Warn("a login to the dashboard is refused", "address", r.RemoteAddr, "error", err)
		text := "That is not the key."
		if statusOf(err) == http.StatusTooManyRequests {
			text = "Too many wrong keys are being tried. Try again in some seconds."
		}
		show(w, statusOf(err), "login.html", map[string]any{"Host": r.Host, "Ended": false, "Error": text})
		return
	}
	d.options.Logger.Info("somebody has logged in to the dashboard", "address", r.RemoteAddr)
	http.Redirect(w, r, Path, http.StatusSeeOther)
}

// formError is a form that cannot be read.
type formError struct{ error }

// StatusCode is what statusOf asks an error for.
func (formError) StatusCode() int { return http.StatusBadRequest }

func (d *Dashboard) logout(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !isToken(r.PostFormValue("token"), d.options.Gate.Token(r)) {
		http.Redirect(w, r, Path, http.StatusSeeOther) // nothing has ended
		return
	}
	d.options.Gate.Logout(w, r)
	http.Redirect(w, r, Path, http.StatusSeeOther)
}

func (d *Dashboard) refuse(w http.ResponseWriter, err error) {
	show(w, statusOf(err), "refused.html", map[string]any{"Error": err.Error()})
}

func statusOf(err error) int {
	var coded interface{ StatusCode() int }
	if errors.As(err, &coded) {
		return coded.StatusCode()
	}
	return http.StatusInternalServerError
}

// show answers with a page, or, where it cannot be made, with nothing of it.
func show(w http.ResponseWriter, status int, name string, data map[string]any) {
	data["Path"] = Path
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // who has gone reads nothing
}

// headline says a level in words.
func headline(level Level) string {
	switch level {
	case Trouble:
		return "Messages are not delivered"
	case Notice:
		return "Running, with something to look at"
	default:
		return "All is well"
	}
}
