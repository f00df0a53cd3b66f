# ropewalk's build. Cargo tracks the sources; this file names none. `make help` lists the
# targets: a comment with two signs behind a target is its line there.

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo

PROGRAMS := server client sender receiver
TARGET   := target$(if $(CARGO_BUILD_TARGET),/$(CARGO_BUILD_TARGET))/release

# Said at once and in one line, rather than by the first recipe that fails. Programs that are
# built are installed without cargo, and packed where there is none: but not those of another
# machine, which cannot be asked for their version.
built := $(if $(filter-out $(wildcard $(PROGRAMS)),$(PROGRAMS)),,yes)
goals := $(filter-out clean help uninstall $(if $(built),install),$(or $(MAKECMDGOALS),all))
ifneq ($(goals),)
  problem := $(shell CARGO='$(CARGO)' sh scripts/check/cargo.sh 2>&1)
  needing := $(filter-out $(if $(built),$(if $(DEB_ARCHITECTURE),,deb)),$(goals))
  ifneq ($(and $(problem),$(needing)),)
    $(error $(problem))
  endif
endif

all: $(PROGRAMS)  ## the four programs, in this folder; make alone does the same

$(PROGRAMS): build

# Always asked of cargo, which knows what has changed.
build:
	@$(CARGO) build --release --locked --target-dir target
	@for p in $(PROGRAMS); do \
		cmp -s $(TARGET)/$$p $$p || install -m 755 $(TARGET)/$$p $$p; done

demo: all  ## fetch a file over 4 streams on this machine, and compare it
	@sh scripts/demo.sh

test: all  ## all tests
	@sh test.sh

cross:  ## programs for small boxes, in target/TRIPLE/release; TRIPLES=
	@sh scripts/package/cross-build.sh $(TRIPLES)

test-cross: cross  ## test these programs against native ones
	@bash scripts/check/cross.sh $(TRIPLES)

lint:  ## format, clippy, layers, papers
	@$(CARGO) fmt --check
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@sh scripts/check/layers.sh
	@sh scripts/check/papers.sh

bench: all  ## measure beside other tools; needs 3 GiB in /dev/shm
	@sh scripts/bench/loopback.sh
	@sh scripts/bench/slow.sh
	@sh scripts/bench/wan.sh
	@sh scripts/bench/ssh.sh
	@sh scripts/bench/hash.sh

# share/ is laid out as it is installed. find fails with what `+` runs, not with what `\;` does.
install: $(if $(built),,all)  ## into PREFIX=/usr/local, below DESTDIR=
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/ropewalk
	install -m 755 server $(DESTDIR)$(PREFIX)/bin/ropewalk-server
	install -m 755 client $(DESTDIR)$(PREFIX)/bin/ropewalk-client
	install -m 755 sender receiver $(DESTDIR)$(PREFIX)/libexec/ropewalk
	find share -type f -exec sh -ec \
		'for file; do install -D -m 644 "$$file" "$$0/$$file"; done' $(DESTDIR)$(PREFIX) {} +

# What `install` has put there. Folders that other programs may use stay.
uninstall:  ## remove what make install has put there
	rm -f $(DESTDIR)$(PREFIX)/bin/ropewalk-server $(DESTDIR)$(PREFIX)/bin/ropewalk-client
	rm -f $(DESTDIR)$(PREFIX)/libexec/ropewalk/sender $(DESTDIR)$(PREFIX)/libexec/ropewalk/receiver
	[ ! -d $(DESTDIR)$(PREFIX)/libexec/ropewalk ] || rmdir $(DESTDIR)$(PREFIX)/libexec/ropewalk
	find share -type f -exec sh -ec \
		'for file; do rm -f "$$0/$$file"; done' $(DESTDIR)$(PREFIX) {} +

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-11s %s\n", $$1, $$2 }'

# What share/ holds, anew from the tables of options.
papers:  ## write man pages and completions anew
	@ROPEWALK_RENEW_PAPERS=1 $(CARGO) test --locked --quiet --test papers

# glibc's own static form: any toolchain has it, while one for musl is an extra, and names
# are resolved without a file of it at run time (from 2.34 on). A target has to be named, or
# the flag would be for build scripts too.
STATIC        ?= static
STATIC_BUILD  ?= target/static
STATIC_TARGET  = $(or $(CARGO_BUILD_TARGET),$(shell $(CARGO) -vV | sed -n 's/^host: //p'))

static:  ## programs that need no library, in static/
	@RUSTFLAGS='$(RUSTFLAGS) -C target-feature=+crt-static' $(CARGO) build --release --locked \
		--target $(STATIC_TARGET) --target-dir $(STATIC_BUILD)
	@install -d $(STATIC)
	@install -m 755 $(PROGRAMS:%=$(STATIC_BUILD)/$(STATIC_TARGET)/release/%) $(STATIC)

dist:  ## a source tarball with all crates, in dist/
	@CARGO='$(CARGO)' sh scripts/package/dist.sh

deb: $(if $(problem),,all)  ## a Debian package, in dist/
	@sh scripts/package/deb.sh

clean:  ## remove what make has built
	rm -rf target dist static $(PROGRAMS)

.PHONY: all build help demo test cross test-cross lint bench install uninstall papers static dist deb clean $(PROGRAMS)
