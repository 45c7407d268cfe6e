package main

import (
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/pflag"
)

// logSettings are how a server logs.
type logSettings struct {
	format string
	level  slog.Level
}

func (l *logSettings) addFlags(flags *pflag.FlagSet) {
	l.format = "text"
	addFlag(flags, &l.format, "log-format", "FORMAT", "text or json", func(s string) (string, error) {
		if s != "text" && s != "json" {
			return "", errors.New("it must be text or json")
		}
		return s, nil
	})
	f := addFlag(flags, &l.level, "log-level", "LEVEL", "debug, info, warn or error", parseLevel)
	f.DefValue = "info"
}

func parseLevel(s string) (slog.Level, error) {
	level, found := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[s]
	if !found {
		return 0, errors.New("it must be debug, info, warn or error")
	}
	return level, nil
}

// open returns the logger, whose level can be changed while it is used. What
// cannot be written is lost: a full disk stops no server.
func (l *logSettings) open(w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(l.level)
	options := &slog.HandlerOptions{Level: level}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), level
	}
	return slog.New(slog.NewTextHandler(w, options)), level
}
