"""`manage.py check`: what is wrong with the site's settings, models and servers, and what to do about it.

No check takes longer than a second, whatever does not answer. Each has an id that stays:

| id | what is wrong |
|---|---|
| E001, E002, E003 | `MYDJANGOAPP` is not a dict, has a wrong value, has a name that is no setting |
| E004 | a photo has an id that is too large |
| E005 | `USE_TZ` is off |
| E006 | a setting names something that cannot be imported |
| E007 | `PUBLIC_NAME` names no field of the user model |
| E008 | the API logs in by tokens, whose app is not installed |
| E009, E010 | the photo model is not an `AbstractPhoto`, has an id that is not a whole number |
| E012 | Celery's broker is a cluster |
| E013 | a node of the feeds' cluster is too old |
| E014 | the site has the pages, and not what they need |
| W001 | the feeds' Redis may drop feeds |
| W002, W003 | nobody has a name that others see; others see an e-mail address |
| W004 | feeds are read by an index that the photo model does not have |
| W005 | the API shows nothing of the site's own photo |
| W006, W007, W008 | the site's Celery app is not loaded, lacks the app's defaults, beat sends too little |
| W009 | images are uploaded, and there is no place for them |
| W010 | the feeds' Redis has keys of an earlier version |
"""

from . import cluster, photo_model, servers, settings, site, users  # noqa: F401  # they register themselves
