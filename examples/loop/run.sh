#!/usr/bin/env bash
# The closed loop, on a small shop in which it is known who likes what: train on products
# shown at random, serve, rank, tell what people did, join, train on that, too, serve again.
#
#     examples/loop/run.sh [DIR]
#
# Needs curl and awk, and `crosstie` in the path or named by CROSSTIE. Half a minute; what
# it makes stays in DIR (loop, if none is named).
set -euo pipefail
crosstie="${CROSSTIE:-crosstie}"
here="${1:-loop}"
port="${PORT:-8930}"
server="http://127.0.0.1:$port"
mkdir -p "$here"
cd "$here"
rm -rf ./*.csv ./*.json runs models log joined answers
say() { printf '\n== %s\n' "$*"; }

# The shop. Users have a taste, products a kind; people click on what they like and buy
# what is cheap. Request r shows ten products to one user.
shop='
function draw() { seed = (seed * 16807) % 2147483647; return seed / 2147483647 }
function price(product) { return 5 + (product * 53) % 95 }
function clicks(user, product) { return 0.05 + 0.3 * (user % 7 == product % 7) + 0.1 * (product * 37 % 60) / 60 }
function buys(product) { return 0.1 + 0.4 * (1 - price(product) / 100) }
function user_of(r) { return (r * 7 + int(r / 200)) % 200 }
function product_of(r, index_) { return (r * 31 + index_ * 17) % 60 }
'

say "12,000 products shown at random"
awk "$shop"'BEGIN {
  seed = 11
  for (row = 0; row < 12000; row++) {
    file = row < 8000 ? "train.csv" : row < 10000 ? "valid.csv" : "test.csv"
    if (!(file in begun)) { begun[file] = 1; print "user,taste,product,kind,price,click,buy" > file }
    user = int(200 * draw()); product = int(60 * draw())
    click = draw() < clicks(user, product); buy = click && draw() < buys(product)
    clicked += click
    printf "u%d,%d,p%d,%d,%d,%d,%d\n", user, user % 7, product, product % 7, price(product), click, buy > file
  }
  printf "clicked: %.1f %%\n", 100 * clicked / 12000
}'
cat > schema.toml <<'END'
[[task]]
name = "click"
[[task]]
name = "buy"
after = "click"
[[field]]
name = "user"
kind = "categorical"
side = "user"
[[field]]
name = "taste"
kind = "categorical"
side = "user"
[[field]]
name = "product"
kind = "categorical"
side = "item"
[[field]]
name = "kind"
kind = "categorical"
side = "item"
[[field]]
name = "price"
kind = "numeric"
side = "item"
END
cat > shop.toml <<'END'
[data]
schema = "schema.toml"
train = "train.csv"
valid = "valid.csv"
test = "test.csv"
[model]
name = "esmm"
[train]
epochs = 4
END
"$crosstie" train shop.toml --quiet --out runs/first

# Gives a trained model to the server: a version appears whole.
publish() {
    mkdir -p models/shop
    cp -r "$1/artifact" "models/.shop-$2"
    mv "models/.shop-$2" "models/shop/$2"
}

say "serve the first model"
publish runs/first 1
cat > serve.toml <<END
[http]
address = "127.0.0.1:$port"
[grpc]
address = "127.0.0.1:$((port + 1))"
[metrics]
address = "127.0.0.1:$((port + 2))"
[repository]
directory = "models"
[timeouts]
drain_seconds = 0.0
[log]
directory = "log"
exposures = "required"
END
"$crosstie" serve --config serve.toml > serve.log 2>&1 &
serving=$!
trap 'kill "$serving" 2> /dev/null || true' EXIT
until curl --silent --fail --output /dev/null "$server/v2/health/ready"; do
    kill -0 "$serving" || { cat serve.log; exit 1; }
    sleep 0.1
done

# Asks for the best five of ten for requests FIRST to LAST, one connection for all.
rank() {
    mkdir -p answers
    awk -v first="$1" -v last="$2" -v server="$server" "$shop"'function quoted(text) { gsub(/"/, "\\\"", text); return "\"" text "\"" }
    BEGIN {
      for (r = first; r <= last; r++) {
        user = user_of(r)
        body = sprintf("{\"request\":\"r%d\",\"user\":{\"user\":\"u%d\",\"taste\":%d},\"candidates\":[", r, user, user % 7)
        for (i = 0; i < 10; i++) {
          product = product_of(r, i)
          body = body sprintf("%s{\"product\":\"p%d\",\"kind\":%d,\"price\":%d}", i ? "," : "", product, product % 7, price(product))
        }
        body = body "],\"formula\":\"click.from_impression\",\"top\":5}"
        if (r > first) print "next"
        print "url = \"" server "/v1/rank\"\nsilent\nfail\nheader = \"Content-Type: application/json\""
        print "output = \"answers/r" r ".json\"\ndata = " quoted(body)
      }
    }' > requests.txt
    curl --config requests.txt
}

say "rank 10 products for each of 600 requests, and tell what people did with the best 5"
rank 1 600
for r in $(seq 600); do
    grep -o '"index":[0-9]*' "answers/r$r.json" | cut -d: -f2 | sed "s/^/$r /"
done | awk "$shop"'BEGIN { seed = 5 }
  function event(action, value) {
    printf "%s{\"request\":\"r%d\",\"candidate\":%d,\"action\":\"%s\"%s}", n++ ? ",\n" : "[", $1, $2, action, value
  }
  {
    product = product_of($1, $2); shown++
    if (draw() < clicks(user_of($1), product)) {
      event("click", ""); clicked++
      if (draw() < buys(product)) event("buy", sprintf(",\"value\":%d", price(product)))
    }
  }
  END { print "]"; printf "clicked: %.1f %%\n", 100 * clicked / shown > "/dev/stderr" }' > feedback.json
post() { curl --silent --show-error --fail-with-body --header 'Content-Type: application/json' "$@"; echo; }
post --data @feedback.json "$server/v1/feedback"
echo "and once more, as a client that heard no answer would:"
post --data @feedback.json "$server/v1/feedback"

say "join, as if a day had passed"
"$crosstie" join log --window 24h --now 2100-01-01 --schema schema.toml --out joined

say "train on both logs"
sed 's|train = "train.csv"|train = ["train.csv", "joined/*.parquet"]|' shop.toml > both.toml
"$crosstie" train both.toml --quiet --out runs/second

say "serve the second model, without a break"
publish runs/second 2
post --request POST "$server/v2/repository/models/shop/load"
rank 601 601
grep -o '"version":"[0-9]*"' answers/r601.json
grep -q '"version":"2"' answers/r601.json

kill -TERM "$serving"
wait "$serving"
trap - EXIT
say "done: everything is in $PWD"
