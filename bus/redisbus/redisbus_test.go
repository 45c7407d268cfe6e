package redisbus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/redisbus"
)

func TestNew_SaysWhatItDoesNotAccept(t *testing.T) {
	t.Parallel()
	one := redis.NewClient(&redis.Options{ReadTimeout: 2 * time.Second})
	many := redis.NewClusterClient(&redis.ClusterOptions{})
	ring := redis.NewRing(&redis.RingOptions{})
	for _, c := range []redis.UniversalClient{one, many, ring} {
		defer c.Close()
	}
	for name, test := range map[string]struct {
		client  redis.UniversalClient
		options *redisbus.Options
		says    string // empty: it is accepted
	}{
		"defaults":                    {one, nil, ""},
		"waiting for replicas":        {one, &redisbus.Options{WaitReplicas: 1}, ""},
		"a cluster":                   {many, nil, "Options.HashTag"},
		"a cluster with a tag":        {many, &redisbus.Options{HashTag: "mb"}, ""},
		"a ring":                      {ring, &redisbus.Options{HashTag: "mb"}, "*redis.Ring"},
		"braces in the tag":           {one, &redisbus.Options{HashTag: "{mb}"}, `"{mb}"`},
		"a pattern in the tag":        {one, &redisbus.Options{HashTag: "*"}, `"*"`},
		"fewer replicas than none":    {one, &redisbus.Options{WaitReplicas: -1}, "-1"},
		"waiting longer than reading": {one, &redisbus.Options{WaitReplicas: 1, WaitTimeout: 2 * time.Second}, "ReadTimeout 2s"},
		"waiting for no time":         {one, &redisbus.Options{WaitReplicas: 1, WaitTimeout: 1}, "1ns"},
	} {
		b, err := redisbus.New(test.client, test.options)
		switch {
		case test.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.says == "":
			b.Close()
		case err == nil || !strings.Contains(err.Error(), test.says):
			t.Errorf("%s: %v, want an error that says %s", name, err, test.says)
		}
	}
}
