// Package rubycompat shows that Go and Ruby processes on one store cannot tell each
// other apart. Its tests replay recordings of the Ruby gem message_bus against the
// Go code, and let both speak to each other where the gem is installed.
//
// golden/README-stores.md describes the recordings. golden/differences.json names
// each case in which Go differs on purpose, and the rule by which it does: a case
// that is not named must come out as recorded, and one that is must come out as its
// rule says.
package rubycompat
