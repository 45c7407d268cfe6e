module github.com/messagebus-go/messagebus/httpclient

go 1.26.0
