dnl Unlike at a site: a small busy machine must not refuse or hold mail, and retries come within
dnl seconds.
define(`confPRIVACY_FLAGS', `needmailhelo,authwarnings')dnl
define(`confTO_IDENT', `0')dnl
define(`confTO_CONNECT', `10s')dnl
define(`confTO_ICONNECT', `5s')dnl
define(`confTO_INITIAL', `20s')dnl
define(`confQUEUE_LA', `500')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDELAY_LA', `0')dnl
define(`confMAX_QUEUE_CHILDREN', `8')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
