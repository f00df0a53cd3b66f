# ropewalk's build. Cargo tracks the sources; this file names none.
#
#   make            the four programs, here
#   make demo       fetch a file over 4 streams on this machine, and check it
#   make test       all tests
#   make cross      programs for small boxes, in target/TRIPLE/release; TRIPLES=
#   make test-cross these and native ones against each other
#   make lint       format, clippy, layers, papers
#   make bench      beside other tools, and hashes beside md5sum
#   make install    PREFIX=/usr/local DESTDIR=

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo

PROGRAMS := server client sender receiver
TARGET   := target$(if $(CARGO_BUILD_TARGET),/$(CARGO_BUILD_TARGET))/release

# Said at once and in one line, rather than by the first recipe that fails. Installing
# programs that are built needs no cargo.
built := $(if $(filter-out $(wildcard $(PROGRAMS)),$(PROGRAMS)),,yes)
goals := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out clean $(if $(built),install),$(goals)),)
  problem := $(shell CARGO='$(CARGO)' sh scripts/check-cargo.sh 2>&1)
  ifneq ($(problem),)
    $(error $(problem))
  endif
endif

all: $(PROGRAMS)

$(PROGRAMS): build

# Always asked of cargo, which knows what has changed.
build:
	@$(CARGO) build --release --locked --target-dir target
	@for p in $(PROGRAMS); do \
		cmp -s $(TARGET)/$$p $$p || install -m 755 $(TARGET)/$$p $$p; done

demo: all
	@sh scripts/demo.sh

test: all
	@sh test.sh

cross:
	@sh scripts/cross-build.sh $(TRIPLES)

test-cross: cross
	@bash scripts/cross-test.sh $(TRIPLES)

lint:
	@$(CARGO) fmt --check
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@sh scripts/check-layers.sh
	@sh scripts/check-papers.sh

bench: all
	@sh scripts/bench.sh
	@sh scripts/bench-slow.sh
	@sh scripts/bench-wan.sh
	@sh scripts/bench-hash.sh

install: $(if $(built),,all)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/ropewalk
	install -m 755 server $(DESTDIR)$(PREFIX)/bin/ropewalk-server
	install -m 755 client $(DESTDIR)$(PREFIX)/bin/ropewalk-client
	install -m 755 sender receiver $(DESTDIR)$(PREFIX)/libexec/ropewalk

clean:
	rm -rf target $(PROGRAMS)

.PHONY: all build demo test cross test-cross lint bench install clean $(PROGRAMS)
