# frozen_string_literal: true

# The parts of Rails that the guide's code uses, over Rack alone, and the application. Of a real Rails
# application only this file and the folder app would be otherwise.

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]

require "json"
require "logger"
require "set" # which Ruby before 3.2 does not load by itself
require "rack"
require "rack/session/cookie"
require "message_bus"

module Rails
  # What initializers take out of the stack of middleware.
  class Stack
    def initialize
      @deleted = []
    end

    def delete(middleware)
      @deleted << middleware
    end

    def deleted?(middleware)
      @deleted.include?(middleware)
    end
  end

  # Paths and the Rack applications that answer them.
  class Routes
    def initialize
      @applications = {}
    end

    def prepend(&block)
      instance_eval(&block)
    end

    def get(path, to:)
      @applications[path] = to
    end

    def find(path)
      @applications[path]
    end
  end

  Config = Struct.new(:middleware)
  Application = Struct.new(:config, :routes)

  def self.application
    @application ||= Application.new(Config.new(Stack.new), Routes.new)
  end

  def self.root
    File.expand_path("..", __dir__)
  end
end

MessageBus.logger = Logger.new($stderr, level: Logger::WARN)
MessageBus.long_polling_interval = 3_000 # so that a test need not wait long for requests to end

require_relative "../app/forum"

Dir[File.join(Rails.root, "config/initializers/*.rb")].sort.each { |file| require file }
