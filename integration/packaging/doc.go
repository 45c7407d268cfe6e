// Package packaging starts the server by the command lines of the folder packaging, on
// servers of this machine, and looks whether it serves.
package packaging
