// Package record records the cases of the folder golden again, from the gem that is
// installed, and says what differs.
//
// A new version of the gem shows its differences so, and an old one too: "make
// golden-check" runs it with the gem that MESSAGE_BUS_LIB names (the folder lib of a
// checkout), or with an installed one. It takes the inputs of each case from the
// recording, has Ruby produce the rest, and compares. The recordings themselves are
// never written.
//
// What is recorded of Postgres are the statements that pass a proxy in front of the
// server; the server over HTTP is Puma. What is taken as equal is listed at normal, in
// normal.go.
package record
