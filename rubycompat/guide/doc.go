// Package guide runs docs/from-ruby.md: its tests take the code blocks of the page, in their
// order, to an empty root in which the application of the folder app is served by Ruby, and
// look at what a browser of that application gets meanwhile.
package guide
