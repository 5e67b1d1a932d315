"""Names under which columns and actions of other people's logs are usually found, without case, blanks and underscores."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# For each column of ours, the likeliest names first.
EVENT_NAMES: dict[str, tuple[str, ...]] = {
    "event_id": _words("eventid impressionid logid rowid uuid id"),
    "user_id": _words(
        "userid user uid visitorid viewerid memberid customerid accountid profileid listenerid readerid who userkey "
        "useridx personid clientid useranonid deviceid member visitor customer listener reader viewer"
    ),
    "post_id": _words(
        "postid itemid item newsid articleid productid trackid songid videoid movieid contentid noteid statusid "
        "tweetid bookid post article product track iid sku docid pageid adid gameid recipeid businessid artid "
        "listingid listing episodeid episode podcastid"
    ),
    "author_id": _words(
        "authorid author creatorid sellerid publisherid artistid channelid ownerid brandid artist publisher brand seller"
    ),
    "action": _words(
        "action eventtype event eventname type behavior behaviour behaviortype interaction interactiontype activity "
        "verb did feedback actiontype what"
    ),
    "value": _words("value dwellms dwelltimems playms msplayed watchms playtimems dwelltime readtime duration"),
    "surface": _words("surface product page placement screen tab feed section context source channel slotname"),
    "position": _words("position rank slot pos index offset"),
    "release": _words("release modelversion variant policy"),
    "propensity": _words("propensity propensityscore pscore probability actionprob"),
    "request_id": _words("requestid sessionid session usersession visitid visit pageviewid searchid queryid listid"),
    "occurred_at": _words(
        "occurredat timestamp eventtime time ts datetime createdat date eventtimestamp when servertime unixtime "
        "timems timestampms playedat watchedat clicktime visittime at"
    ),
}
POST_NAMES: dict[str, tuple[str, ...]] = {
    "post_id": (*EVENT_NAMES["post_id"], *_words("id")),
    "author_id": (*EVENT_NAMES["author_id"], *_words("userid user")),
    "created_at": _words(
        "createdat publishedat publishtime uploadtime releasedate created published timestamp time date uploaddt"
    ),
    "topics": _words(
        "topics topic tags tag categories category genres genre subcategory categorycode sections section keywords hashtags"
    ),
    "media": _words("media mediatype kind contenttype format type"),
    "duration_ms": _words("durationms lengthms videoduration duration"),
    "language": _words("language lang locale"),
    "text": _words("text title body content headline name caption description"),
    "in_reply_to": _words("inreplyto replyto parentid inreplytostatusid"),
    "embedding": _words("embedding embeddings vector emb"),
}
USER_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (*EVENT_NAMES["user_id"], *_words("id")),
    "created_at": _words("createdat registeredat signupdate registrationdate joined joinedat signup created"),
    "language": POST_NAMES["language"],
    "followers": _words("followers followerscount fans fansusernum"),
    "following": _words("following followingcount friendscount followees followusernum"),
    "attributes": _words("attributes"),
}
EDGE_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": _words("userid follower followerid source sourceid from fromid user uid"),
    "target_id": _words("targetid followee followeeid followed followedid target to toid friend friendid following authorid"),
    "kind": _words("kind relation edgetype type"),
    "weight": _words("weight strength"),
    "created_at": _words("createdat since followedat timestamp time date created at"),
}

# What a file holds by its name; a file of another name holds events.
TABLE_WORDS: dict[str, tuple[str, ...]] = {
    "posts": _words("post item article news product track song movie video book catalog content note listing episode"),
    "users": _words("user member customer profile people account listener reader"),
    "edges": _words("edge follow friend graph network social trust"),
}
EVENT_WORDS = _words(
    "event behavior behaviour interaction log click impression rating play history view listen session activity "
    "action review transaction"
)

Target = str | dict[str, str]

# Action by the value of an action column, or by the name of a column of 0 and 1.
_SAID: tuple[tuple[Target, str], ...] = (
    ("impression", "impression imp impr shown show exposure exposed display displayed served seen recommended"),
    ("click", "click clicked open opened tap visit pageview detail clk pv clickout"),
    ("like", "like liked love loved fav favorite favourite favorited upvote heart thumbsup digg"),
    ("reply", "reply replied comment commented answer"),
    ("repost", "repost reposted retweet retweeted reblog boost"),
    ("quote", "quote quoted retweetwithcomment"),
    ("share", "share shared forward forwarded send"),
    ("bookmark", "bookmark bookmarked save saved collect wishlist addtowishlist addtoplaylist"),
    ("follow", "follow followed subscribe subscribed"),
    ("profile_click", "profileclick profileenter profilevisit enterprofile"),
    ("dwell", "dwell read stay"),
    ("video_view", "videoview watch watched longview complete completed finish finished"),
    ("not_interested", "notinterested dislike disliked hide hidden downvote thumbsdown hate"),
    ("mute", "mute muted"),
    ("block", "block blocked"),
    ("report", "report reported flag spam abuse"),
    ({"action": "own", "name": "play", "kind": "opened"}, "play played listen listened stream streamed scrobble"),
    ({"action": "own", "name": "skip", "kind": "disliked"}, "skip skipped"),
    (
        {"action": "own", "name": "purchase", "kind": "liked"},
        "purchase purchased buy bought order transaction checkout conversion",
    ),
    ({"action": "own", "name": "add to cart", "kind": "liked"}, "cart addtocart basket"),
)
ACTIONS: dict[str, Target] = {word: target for target, words in _SAID for word in _words(words)}

VIEW_WORDS = _words("view viewed views")  # an impression beside clicks, else the opening of a page
RATING_WORDS = _words("rating stars score overall reviewrating star")


def plain(name: str) -> str:
    """The name without case, blanks and marks."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
