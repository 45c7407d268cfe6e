// Package gettingstarted runs docs/getting-started.md in an empty folder, and opens what comes
// of it in a browser.
package gettingstarted
