// Package measure is what the programs of this module have in common: figures
// with their targets, the table of them, other processes, and servers that are
// started for a program as if it were a test.
package measure
