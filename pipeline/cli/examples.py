"""The examples of every help page: a `# comment` above each `$ command`. Tests parse all of them."""

EXAMPLES = {
    "eimf": """\
# See it work on MovieLens-100K
$ eimf demo

# Your own data: ask the LLM once, then train as often as you like
$ eimf esim -r my.toml
$ eimf train -r my.toml -b comirec-sa

# Complete commands and options with the Tab key
$ eimf --install-completion""",
    "demo": """\
# Into the folder artifacts
$ eimf demo

# Into another store
$ eimf demo -s /tmp/demo""",
    "esim": """\
# MovieLens-100K
$ eimf esim

# A dataset as it was published: a folder, a zip or a file
$ eimf esim -d path/to/ml-1m.zip

# Your own recipe, with another LLM
$ eimf esim -r my.toml -S llm.model=/models/some-instruct-model""",
    "extend": """\
# The artifact 0123456789ab of this recipe, with the events of another month
$ eimf extend 0123456789ab -r my.toml

# Train on the extension
$ eimf train -r my.toml --esim fedcba987654""",
    "plan": """\
# MovieLens-100K
$ eimf plan

# Three numbers of clusters, with the price of a service, and a plot
$ eimf plan -r my.toml -c 500 -c 1000 -c 2000 --price 0.15/0.60 -o plan.svg""",
    "train": """\
# The defaults: SASRec with the preset modern
$ eimf train

# Another backbone on the same artifact: no LLM request
$ eimf train -b comirec-sa

# Only the backbone, with another seed
$ eimf train -p plain -S train.seed=1""",
    "evaluate": """\
# Other cut-offs, without training again
$ eimf evaluate -S 'evaluate.cutoffs=[1,10]'""",
    "recommend": """\
# After these two items
$ eimf recommend 0123456789ab 242 302

# To a user of the dataset
$ eimf recommend 0123456789ab -u 196 -n 20

# To every user of the dataset
$ eimf recommend 0123456789ab -o recommended.parquet""",
    "export": """\
# What `eimf train` with the same options has trained, into the folder bundle
$ eimf export -r my.toml -b comirec-sa

# A checkpoint, elsewhere
$ eimf export 0123456789ab -o /srv/shop

# Without the names of interests
$ eimf export 0123456789ab --no-labels""",
    "serve": """\
# At http://127.0.0.1:8000
$ eimf serve bundle

# For other machines, by four processes, at most 2,000 requests a second
$ eimf serve bundle --host 0.0.0.0 --processes 4 --rate 2000""",
    "sweep": """\
# Two trainings at a time, results in the folder study/
$ eimf sweep study.toml

# Eight at a time
$ eimf sweep study.toml -w 8""",
    "search": """\
# Two trainings at a time, results in the folder search/
$ eimf search search.toml

# Eight at a time, with the same trials
$ eimf search search.toml -w 8""",
    "check": """\
# MovieLens-100K
$ eimf check

# Your own recipe
$ eimf check -r my.toml""",
    "compare": """\
# Two checkpoints or calibrations
$ eimf compare 0123456789ab fedcba987654

# Three seeds of each, other metrics, for short and for long histories
$ eimf compare 01234,12345,23456 abcde,bcdef,cdef0 -m recall@20 -m map@5 --slice history

# Two variants of a sweep, by every slice
$ eimf compare plain modern --results study --slice every""",
    "report": """\
# Everything that was trained into a store
$ eimf report

# With the name of a dataset, of which a store knows the key only
$ eimf report --name 8bcf47=Toys

# A sweep, or its results alone
$ eimf report --plan study.toml -o study.html

# Two trainings
$ eimf report 0123456789ab ba9876543210""",
    "backbones": """\
# All of them
$ eimf backbones

# Train with one of the options listed
$ eimf train -b sasrec -S model.options.sasrec.layers=3""",
    "data": """\
# Every format that can be read
$ eimf data formats

# What your data is like, in the terminal and as a page
$ eimf data card -r my.toml -o card.html""",
    "data formats": """\
# All of them
$ eimf data formats

# One of them
$ eimf data formats movielens

# Choose it for files of other names
$ eimf recipe -r my.toml -S dataset.format=movielens""",
    "data card": """\
# MovieLens-100K
$ eimf data card

# Your own recipe, and a page to show to others
$ eimf data card -r my.toml -o card.html

# A dataset in the store, as JSON
$ eimf data card 0123456789ab --json""",
    "requests": """\
# What the LLM of a recipe is to be asked
$ eimf requests export -r my.toml -o requests.jsonl""",
    "requests export": """\
# For a provider: its name of the model is in every key
$ eimf requests export -r my.toml -S llm.model=served:some-model -o requests.jsonl

# For `vllm run-batch` on another machine
$ eimf requests export -r my.toml -o requests.jsonl""",
    "replies": """\
# What was answered, with the options of the export
$ eimf replies import replies.jsonl -r my.toml""",
    "replies import": """\
# A provider's batch output, with the options of the export
$ eimf replies import output.jsonl errors.jsonl -r my.toml -S llm.model=served:some-model

# A table with request_key and reply
$ eimf replies import replies.parquet -r my.toml""",
    "store": """\
# What a store in a bucket holds
$ eimf store ls -s s3://bucket/prefix

# A checkpoint, for a machine that serves
$ eimf store pull 0123456789ab s3://bucket/prefix --for serve""",
    "store ls": """\
# All artifacts
$ eimf store ls

# Trainings only
$ eimf store ls checkpoint""",
    "store show": """\
# Which LLM, which prompt, how many requests
$ eimf store show 0123456789ab""",
    "store diff": """\
# Why are these two trainings not the same?
$ eimf store diff 0123456789ab ba9876543210""",
    "store push": """\
# What a training node needs of an ESIM artifact
$ eimf store push 0123456789ab s3://bucket/prefix --for train""",
    "store pull": """\
# What serving needs of a checkpoint
$ eimf store pull 0123456789ab s3://bucket/prefix --for serve""",
    "store pack": """\
# An ESIM artifact with its dataset and item vectors
$ eimf store pack 0123456789ab -o esim.tar""",
    "store unpack": """\
# Into another store
$ eimf store unpack esim.tar -s /data/artifacts""",
    "store gc": """\
# What would be removed
$ eimf store gc

# Keep one training, and remove the rest
$ eimf store gc --keep 0123456789ab --yes""",
    "status": """\
# A store elsewhere
$ eimf status -s /data/artifacts""",
    "verify": """\
# A store that was copied here
$ eimf verify -s /data/artifacts""",
    "recipe": """\
# All defaults
$ eimf recipe

# Your own recipe with one setting changed
$ eimf recipe -r my.toml -S train.lr=5e-4""",
}
"""By command; `eimf` has those of the program itself."""
