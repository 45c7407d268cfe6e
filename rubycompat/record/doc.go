// Package record records the cases of the folder golden again, from the gem that is
// installed, and says what differs.
//
// A new version of the gem shows its differences so, and an old one too: "make
// golden-check" runs it with the gem that MESSAGE_BUS_LIB names (the folder lib of a
// checkout), or with an installed one. It takes the inputs of each case from the
// recording, has Ruby produce the rest, and compares. The recordings themselves are
// never written.
//
// Recorded are message.json and redis.json, of which Normal says what is
// taken as equal. The other recordings are replayed by package rubycompat, and were
// made by hand-written scenes that need a server of Rack, or the log of Postgres.
package record
