package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// A URL with a password may come with any mistake; no error repeats it.
func TestOpenStore_NeverRepeatsAPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://user:hunter2%zz@host", "redis://user:hun/hunter2@host", "redis://user:hunter2", ":hunter2@host",
		"redis://:hunter2@host/x", "redis://:hunter2@host?nonsense=1", "redis://:hunter2@host?pubsub_db=1&pubsub_db=2", "redis://host:hunter2",
		"unix://:hunter2@?x=%", "redis-sentinel://:hunter2@host:1", "redis-sentinel://:hunter2@host:1/main/x", "redis-sentinel://:hunter2@host:1/main?x=1",
		"postgres://user:hunter2@host/db?sslmode=x", "postgres://user:hunter2@host:x/db", "postgres://u:hunter2@h/db?pubsub_db=%zz",
		"memory:hunter2", "memory://user:hunter2@host", "memory:?password=hunter2", "hunter2", "//:hunter2@host", "hunter2:x", "HUNTER2://hunter2",
	} {
		for _, open := range []func() error{
			func() error { _, err := openStore(url, nil); return err },
			func() error { _, err := openSharedStore(url); return err },
		} {
			err := open()
			var usage *usageError
			if err == nil || strings.Contains(err.Error(), "@host") || !errors.As(err, &usage) || !strings.Contains(err.Error(), "--store") {
				t.Errorf("%q: %v", url, err)
			}
			if err != nil && url != "hunter2:x" && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: the error repeats the password: %v", url, err)
			}
		}
	}
}

func TestOpenStore_TakesEveryForm(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"memory:", "redis://host", "redis://:hunter2@host:6379/3?pubsub_db=0", "rediss://user:hunter2@host/0?pubsub_db=a",
		"unix:///run/redis.sock?db=2&pubsub_db=5", "redis-sentinel://user:hunter2@a:1,b:2/main/3?pubsub_db=1&sentinel_password=x",
		"redis-sentinel://[::1]:1,[::1]:2/main", "postgres://user:hunter2@host:5432/db?sslmode=disable&pubsub_db=7", "postgresql://host/db",
	} {
		b, err := openStore(url, nil) // which connects to nothing
		if err != nil {
			t.Errorf("%q: %v", url, err)
			continue
		}
		if err := b.Close(); err != nil {
			t.Errorf("%q: close: %v", url, err)
		}
	}
}

func TestSentinelOptions_ReadsAllParts(t *testing.T) {
	t.Parallel()
	got, err := sentinelOptions("redis-sentinel://ann:p%40ss@a:1,[::1]:2/main/3?sentinel_username=bob&sentinel_password=word")
	if err != nil {
		t.Fatal(err)
	}
	if got.MasterName != "main" || got.DB != 3 || got.Username != "ann" || got.Password != "p@ss" ||
		got.SentinelUsername != "bob" || got.SentinelPassword != "word" || !slices.Equal(got.SentinelAddrs, []string{"a:1", "[::1]:2"}) {
		t.Errorf("got %+v", got)
	}
}
